# CMake toolchain for a bare Cortex-M. The processor's flags come from the project itself.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
# CMake's test program would need a linker script; a library does not.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
