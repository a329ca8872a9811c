/* What standard C cannot say to the compiler. */
#ifndef EF_ATTRIBUTES_H
#define EF_ATTRIBUTES_H

/* A static function that must stay a call: where copies of it would cost more flash, or spill more
 * registers, than the call costs time. */
#if defined(__GNUC__)
#define EF_OUT_OF_LINE __attribute__((noinline))
#else
#define EF_OUT_OF_LINE
#endif

#endif
