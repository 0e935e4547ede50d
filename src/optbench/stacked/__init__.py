"""Many small networks trained as one program: runs that differ in seed and in numbers, side by side along a row axis.

A network of some thousand weights spends its time on calls, not on arithmetic: one update in the loop is some
hundred of them. Here one call serves all rows: the layers are batched matrix products over weights (rows, out, in),
one backward pass of the summed losses gives each row its own gradient, and the optimizer is its pure rule
(`descend.rules`) with the numbers of each row. What a row is alone it is here: its initial weights, order of
batches, batch norm's statistics, schedule, stop rules. Sums of float32 are taken in another order, so numbers are a
run's own up to rounding.

    chain     which models: layers, each of which takes what the one before made
    windows   convolutions and poolings of all rows
    draws     dropout's masks, those of each run alone
    groups    parameter groups, each the plan of an optimizer of its own
    average   moving averages of the weights, at which rows are judged
    columns   inputs that are the same in every example are one input: their weights move together
    weights   the parameters of all rows as one matrix, and as the weights of one row again
    updates   the optimizer: as torch operations, or compiled into one pass over memory
    passes    forward and backward pass and updates of a row as one compiled call, where its layers allow
    train     the rows from start to end: one clock, the loop's rules
    trial     whether a stack computes what the loop does, seen before it is believed
"""
