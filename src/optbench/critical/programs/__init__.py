"""A surface as a program: what its torch code computes, written down once, so that something can be proved of it.

A proof about "the surface" needs a definite function. Torch runs the surface's own code on a few ordinary points while
each operation that reaches x is noted, down to a straight line of primitive steps: add, multiply, sin, a case by sign.
Torch's functions are taken at their word, thresholds and special cases included; what they are is decided in one table,
function by function, and what is not in it is refused by name. Nothing that looks at the value of x to decide what to
do (`if`, `float()`, NumPy) is followed, because one run would then speak for points at which it was not made. The
programs of all points, batches and calls must be one, bit for bit. From then on the program stands for the surface.

In reading order:

    scalar      what an arithmetic provides to run a program; MissingRule, which names what has no rule
    recorded    values that note what is done to them: Step and Tape
    operations  the table: what is proved of each of torch's functions, and why some are refused
    activations, reductions, logits
                its further pages: activations by pieces, sums and products, softmax and losses
    traced      the run itself: torch's dispatcher, listened to (`optbench.tracing`)
    program     `record`: a surface as one Program, which runs in any arithmetic
    gradient    the gradient as a program, by reverse mode; what several derivatives share is one step
    separable   sums of functions that share no coordinate, found in the program's structure
    steady      is it a function at all? clocks, files, random numbers and memory between calls are looked for

What to trust: proofs are about the function as programmed, in real numbers; its constants belong to it, the rounding of
float64 does not. The opening of `steady` says what it cannot notice. That a program means what torch means is checked
at points of every box (`proofs.faithful`), and each rule of the table is tested against torch and mpmath.
"""
