/* A plugin of QEMU (TCG plugin interface, version 1): what runs between two calls of a hook.
 *
 * At each call of the function at address `hook` it writes one line of numbers: instructions,
 * estimated cycles, lowest and highest address stored to in [stack_low, stack_high), and the
 * instructions of each class; then all of them start again from 0. What the hook itself runs is
 * not counted. `table` has a line "address size cycles taken_cycles class" for each instruction, in
 * hexadecimal: what it costs when the next one in memory follows, and when another one does.
 *
 *   gcc -O2 -shared -fPIC count_plugin.c -o count_plugin.so
 *   qemu-system-arm ... -plugin count_plugin.so,hook=0x..,stack_low=0x..,stack_high=0x..,table=FILE,out=FILE
 *
 * QEMU is asked for no header: the few declarations that are used are below. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
enum { NO_REGISTERS = 0, LOADS_AND_STORES = 3 };

EXPORTED int qemu_plugin_version = 1;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *,
                                                   void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
                                             void (*)(unsigned, uint32_t, uint64_t, void *), int,
                                             int, void *);
extern bool qemu_plugin_mem_is_store(uint32_t);

#define CLASSES 8
#define HALFWORDS (1u << 22) /* instructions at up to 8 MiB from the first one */

typedef struct {
    uint8_t size, cycles, taken_cycles, kind;
} instruction;

static instruction *instructions;
static uint32_t first_address;
static uint32_t hook, stack_low, stack_high;
static FILE *out;

static uint64_t count, cycles, by_class[CLASSES];
static uint32_t lowest, highest;
static uint32_t before;      /* the last instruction that was counted */
static uint32_t return_to;   /* where the hook's caller goes on; 0 outside the hook */

static const instruction *at(uint32_t address)
{
    const uint32_t index = (address - first_address) / 2;
    static const instruction unknown = {4, 1, 1, 0};
    return index < HALFWORDS && instructions[index].size != 0 ? &instructions[index] : &unknown;
}

static void reset(void)
{
    count = cycles = 0;
    memset(by_class, 0, sizeof by_class);
    lowest = UINT32_MAX;
    highest = 0;
}

static void write_line(void)
{
    fprintf(out, "%llu %llu %u %u", (unsigned long long)count, (unsigned long long)cycles, lowest,
            highest);
    for (int kind = 0; kind < CLASSES; kind++) {
        fprintf(out, " %llu", (unsigned long long)by_class[kind]);
    }
    fprintf(out, "\n");
    fflush(out);
}

static void on_instruction(unsigned cpu, void *data)
{
    const uint32_t address = (uint32_t)(uintptr_t)data;
    (void)cpu;
    if (return_to != 0) {
        if (address != return_to) {
            return;
        }
        before = 0;
        return_to = 0;
    }
    if (before != 0) { /* what the one before cost shows only when its successor is known */
        const instruction *done = at(before);
        cycles += address == before + done->size ? done->cycles : done->taken_cycles;
    }
    if (address == hook) {
        return_to = before + at(before)->size;
        write_line();
        reset();
        return;
    }
    count++;
    by_class[at(address)->kind % CLASSES]++;
    before = address;
}

static void on_memory(unsigned cpu, uint32_t info, uint64_t address, void *data)
{
    const uint32_t place = (uint32_t)address;
    (void)cpu;
    (void)data;
    if (return_to != 0 || !qemu_plugin_mem_is_store(info) || place < stack_low ||
        place >= stack_high) {
        return;
    }
    lowest = place < lowest ? place : lowest;
    highest = place > highest ? place : highest;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *one = qemu_plugin_tb_get_insn(block, i);
        void *address = (void *)(uintptr_t)qemu_plugin_insn_vaddr(one);
        qemu_plugin_register_vcpu_insn_exec_cb(one, on_instruction, NO_REGISTERS, address);
        qemu_plugin_register_vcpu_mem_cb(one, on_memory, NO_REGISTERS, LOADS_AND_STORES, address);
    }
}

static void read_table(const char *name)
{
    FILE *file = fopen(name, "r");
    unsigned address, size, seq, taken, kind;
    instructions = calloc(HALFWORDS, sizeof *instructions);
    if (file == NULL || instructions == NULL) {
        return;
    }
    while (fscanf(file, "%x %x %x %x %x", &address, &size, &seq, &taken, &kind) == 5) {
        first_address = first_address == 0 ? address : first_address;
        const uint32_t index = (address - first_address) / 2;
        if (index < HALFWORDS) {
            instructions[index] = (instruction){(uint8_t)size, (uint8_t)seq, (uint8_t)taken, (uint8_t)kind};
        }
    }
    fclose(file);
}

EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value == NULL) {
            return 1;
        }
        *value++ = 0;
        if (strcmp(argv[i], "hook") == 0) {
            hook = (uint32_t)strtoul(value, NULL, 0);
        } else if (strcmp(argv[i], "stack_low") == 0) {
            stack_low = (uint32_t)strtoul(value, NULL, 0);
        } else if (strcmp(argv[i], "stack_high") == 0) {
            stack_high = (uint32_t)strtoul(value, NULL, 0);
        } else if (strcmp(argv[i], "table") == 0) {
            read_table(value);
        } else if (strcmp(argv[i], "out") == 0) {
            out = fopen(value, "w");
        }
    }
    if (out == NULL || instructions == NULL) {
        return 1;
    }
    reset();
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
