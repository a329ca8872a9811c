/* Reset code and vector table for any Cortex-M, without the C library's start-up files.
 *
 * The linker script gives the addresses. Handlers are weak: define a function of the same name
 * to take an exception over. */
#include <stdint.h>

extern uint32_t __data_start[], __data_end[], __bss_start[], __bss_end[], __stack_top[];
extern const uint32_t __data_load[];

int main(void);
void Reset_Handler(void);
void Default_Handler(void);
void NMI_Handler(void) __attribute__((weak, alias("Default_Handler")));
void HardFault_Handler(void) __attribute__((weak, alias("Default_Handler")));
void SVC_Handler(void) __attribute__((weak, alias("Default_Handler")));
void PendSV_Handler(void) __attribute__((weak, alias("Default_Handler")));
void SysTick_Handler(void) __attribute__((weak, alias("Default_Handler")));

/* Exceptions 0 to 15; no device interrupt is ever enabled here. The faults that M3 and later
 * have beside HardFault are off after reset and arrive as HardFault. */
struct vector_table {
    uint32_t *stack;
    void (*handlers[15])(void);
};

extern const struct vector_table vectors;
const struct vector_table vectors __attribute__((section(".vectors"), used)) = {
    __stack_top,
    {Reset_Handler, NMI_Handler, HardFault_Handler, Default_Handler, Default_Handler,
     Default_Handler, Default_Handler, 0, 0, 0, SVC_Handler, Default_Handler, 0, PendSV_Handler,
     SysTick_Handler}};

void Default_Handler(void)
{
    for (;;) {
    }
}

void Reset_Handler(void)
{
    /* volatile: the loops shall stay loops, instead of linking memcpy and memset for two uses. */
    const uint32_t *from = __data_load;
    for (volatile uint32_t *to = __data_start; to < __data_end; ++to) {
        *to = *from++;
    }
    for (volatile uint32_t *to = __bss_start; to < __bss_end; ++to) {
        *to = 0U;
    }
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    /* Coprocessors 10 and 11 are the floating-point and vector unit; off after reset. */
    volatile uint32_t *const cpacr = (volatile uint32_t *)0xE000ED88U;
    *cpacr |= 0xFU << 20;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    for (;;) {
        (void)main();
    }
}
