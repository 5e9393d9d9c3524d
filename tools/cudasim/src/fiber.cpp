// Fibers: a stack, and a switch that saves only what the calling convention asks a callee to keep.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "execution.h"

namespace cudasim {

thread_local Thread* current = nullptr;

#if defined(__x86_64__)
asm(R"(
.text
.globl cudasim_switch
.type cudasim_switch, @function
cudasim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cudasim_switch, .-cudasim_switch
)");

void* fresh_fiber(uint8_t* stack, void (*entry)()) {
    auto top = reinterpret_cast<uintptr_t>(stack + stack_bytes) & ~uintptr_t{15};
    auto* words = reinterpret_cast<uintptr_t*>(top);
    words[-1] = 0;  // where entry would return to: it never does
    words[-2] = reinterpret_cast<uintptr_t>(entry);
    for (int i = 3; i <= 8; ++i) words[-i] = 0;
    return words - 8;
}
#elif defined(__aarch64__)
asm(R"(
.text
.globl cudasim_switch
.type cudasim_switch, %function
cudasim_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size cudasim_switch, .-cudasim_switch
)");

void* fresh_fiber(uint8_t* stack, void (*entry)()) {
    auto top = reinterpret_cast<uintptr_t>(stack + stack_bytes) & ~uintptr_t{15};
    auto* frame = reinterpret_cast<uintptr_t*>(top - 160);
    std::memset(frame, 0, 160);
    frame[11] = reinterpret_cast<uintptr_t>(entry);
    return frame;
}
#else
#error "cudasim knows how to switch fibers on x86-64 and on AArch64 only"
#endif

uint8_t* take_stack(Worker& worker) {
    if (!worker.free_stacks.empty()) {
        auto* stack = worker.free_stacks.back();
        worker.free_stacks.pop_back();
        return stack;
    }
    // The first page stays closed, so that an overflow stops the program instead of corrupting a neighbour.
    void* memory =
        mmap(nullptr, stack_bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    mprotect(memory, 4096, PROT_NONE);
    auto* stack = static_cast<uint8_t*>(memory) + 4096;
    worker.used_stacks_.push_back(stack);
    return stack;
}

}  // namespace cudasim
