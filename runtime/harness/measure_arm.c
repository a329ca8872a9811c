/* Measurements on a Cortex-M board or its emulation, and the report of a fault.
 *
 * Under `qemu-system-arm -icount shift=n` virtual time advances 2^n ns an instruction, so that a
 * timer of the board counts instructions; the Python side knows the timer's frequency and
 * converts. EF_TIMER_CMSDK or EF_TIMER_SSE is the timer's base address, from the target's TOML. */
#include "measure.h"

#include "check_io.h"

static volatile uint32_t *device(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

#if defined(EF_TIMER_CMSDK)
/* Arm CMSDK APB timer: 32 bits, counts down. CTRL bit 0 enables, bit 3 sets the interrupt flag
 * when it passes zero; the interrupt itself stays off in the NVIC. */
enum { CTRL = 0, VALUE = 1, RELOAD = 2, INTERRUPT = 3 };

void ticks_restart(void)
{
    volatile uint32_t *const timer = device(EF_TIMER_CMSDK);
    timer[CTRL] = 0U;
    timer[RELOAD] = UINT32_MAX;
    timer[VALUE] = UINT32_MAX;
    timer[INTERRUPT] = 1U;
    timer[CTRL] = 9U;
}

uint32_t ticks_now(void)
{
    return UINT32_MAX - device(EF_TIMER_CMSDK)[VALUE];
}

uint32_t ticks_wrapped(void)
{
    return device(EF_TIMER_CMSDK)[INTERRUPT] & 1U;
}
#elif defined(EF_TIMER_SSE)
/* System counter of Arm's SSE-300: 64 bits, counts up, may be written while it is stopped. */
enum { CONTROL = 0, COUNT_LOW = 2, COUNT_HIGH = 3 };

void ticks_restart(void)
{
    volatile uint32_t *const counter = device(EF_TIMER_SSE);
    counter[CONTROL] = 0U;
    counter[COUNT_LOW] = 0U;
    counter[COUNT_HIGH] = 0U;
    counter[CONTROL] = 1U;
}

uint32_t ticks_now(void)
{
    return device(EF_TIMER_SSE)[COUNT_LOW];
}

uint32_t ticks_wrapped(void)
{
    return device(EF_TIMER_SSE)[COUNT_HIGH] != 0U;
}
#else
#error "define EF_TIMER_CMSDK or EF_TIMER_SSE as the base address of the board's timer"
#endif

/* noinline: the same instructions surround the work whatever it is, so that the cost of an empty
 * measurement can be subtracted. */
__attribute__((noinline)) uint32_t ticks_of(measured_fn work, uint32_t argument, int *status)
{
    ticks_restart();
    const uint32_t before = ticks_now();
    *status = work(argument);
    return ticks_now() - before;
}

__attribute__((noinline)) int loop_of_known_length(uint32_t rounds)
{
    __asm volatile(".syntax unified\n1:\tsubs %0, %0, #1\n\tbne 1b" : "+l"(rounds) : : "cc");
    return 0;
}

__attribute__((noinline)) int nothing(uint32_t argument)
{
    (void)argument;
    return 0;
}

#define STACK_PAINT 0xC5A3965CU

extern uint32_t __stack_limit[];

__attribute__((noinline)) uint32_t stack_of(measured_fn work, uint32_t argument, int *status)
{
    const uint32_t *pointer;
    __asm volatile("mov %0, sp" : "=r"(pointer));
    /* volatile: neither loop may become a call, which would use the stack that it looks at. */
    for (volatile uint32_t *word = __stack_limit; word < pointer; ++word) {
        *word = STACK_PAINT;
    }
    *status = work(argument);
    const volatile uint32_t *lowest = __stack_limit;
    while (lowest < pointer && *lowest == STACK_PAINT) {
        ++lowest;
    }
    return lowest == __stack_limit ? UINT32_MAX : (uint32_t)((uintptr_t)pointer - (uintptr_t)lowest);
}

#define SCB_CCR 0xE000ED14U
#define CCR_UNALIGN_TRP (1U << 3)
#define CCR_DIV_0_TRP (1U << 4)

void measure_start(void)
{
#if !defined(__ARM_FEATURE_UNALIGNED)
    /* Code for a core that faults on unaligned access may run on one that would forgive it. */
    *device(SCB_CCR) |= CCR_UNALIGN_TRP;
#endif
#if defined(__ARM_FEATURE_IDIV)
    *device(SCB_CCR) |= CCR_DIV_0_TRP;
#endif
}

static void hexadecimal(char *to, uint32_t value)
{
    for (uint32_t digit = 0; digit < 8U; ++digit) {
        to[digit] = "0123456789abcdef"[(value >> (28U - 4U * digit)) & 15U];
    }
}

void report_fault(const uint32_t *frame);
void report_fault(const uint32_t *frame)
{
    /* The processor stacked r0-r3, r12, lr, pc and xpsr. CFSR tells the kind on M3 and later. */
    static char line[] = "HardFault at pc=0x00000000, lr=0x00000000, cfsr=0x00000000\n";
    hexadecimal(&line[18], frame[6]);
    hexadecimal(&line[33], frame[5]);
    hexadecimal(&line[50], *device(0xE000ED28U));
    check_say(line);
    check_exit(30);
}

void HardFault_Handler(void);
__attribute__((naked)) void HardFault_Handler(void)
{
    __asm volatile("mov r0, sp\n\tldr r1, =report_fault\n\tbx r1");
}
