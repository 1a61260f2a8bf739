/* What the programs of tools/bench_device.py need of the machine they run on: an emulated Cortex-M, or this one. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

#ifdef __arm__

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018)

/* Print, or end, by the debugger's calls, which QEMU answers. */
static inline uint32_t board_call(uint32_t number, const void *argument)
{
    register uint32_t r0 __asm__("r0") = number;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static inline void board_print(const char *text)
{
    (void)board_call(4, text);
}

/* The clock counts down from 2^24, and each instruction takes it the same time: qemu -icount. */
static inline void board_start(void)
{
    SYSTICK_RELOAD = 0xffffff;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5;
}

static inline uint32_t board_ticks(void)
{
    return SYSTICK_VALUE;
}

#else

#include <stdio.h>

static inline void board_print(const char *text)
{
    fputs(text, stdout);
}

static inline void board_start(void)
{
}

static inline uint32_t board_ticks(void)
{
    return 0;
}

#endif
#endif
