/* The least that a Cortex-M needs before main: its stack, its vectors, what stands in memory, and the FPU. */
#include "board.h"

extern uint32_t stack_top, data_start, data_end, data_from, bss_start, bss_end;
extern int main(void);
void start(void);
void stop(void);

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))&stack_top, start, stop, stop, stop, stop, stop, 0, 0, 0, 0, stop, stop, 0, stop, stop,
};

void stop(void)
{
    static const uint32_t reason[2] = {0x20023, 0}; /* a run-time error */
    (void)board_call(0x18, (const void *)(uintptr_t)reason[0]);
    for (;;) {
    }
}

__attribute__((noreturn)) void start(void)
{
    uint32_t *to = &data_start;
    const uint32_t *from = &data_from;
#ifdef __ARM_FP
    *(volatile uint32_t *)0xE000ED88 |= 0xf << 20;
    __asm__ volatile("dsb\n isb");
#endif
    while (to < &data_end)
        *to++ = *from++;
    for (to = &bss_start; to < &bss_end; to++)
        *to = 0;
    (void)main();
    (void)board_call(0x18, (const void *)(uintptr_t)0x20026); /* the application ends */
    for (;;) {
    }
}
