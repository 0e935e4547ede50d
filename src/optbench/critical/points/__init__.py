"""What is known of critical points, as plain values, and the words used to report it.

Every search, numerical or certified, ends in the same types, so that whoever prints, draws, records or compares a
result need not know how it was found, and need not load torch. A point carries what its type rests on (`basis`: proved,
numerical or undecided), how far it may be from where it is listed (`radius`), and for a degenerate one the verdict that
other means than the second derivatives gave. A set of points carries whether it is complete, and why not. Regions that
are not a single point (a valley of minima, a flat, a crowd of undecided boxes) are clusters, never points.

In reading order:

    found     CriticalPoint, Cluster, CriticalSet and Winding; JSON; counts; the order in lists
    picture   TaylorPicture: one point with its derivatives, and predicted against measured changes
    verdicts  the sentence behind each printed word; a word is printed only where its sentence holds
    describe  tables and sentences for a terminal, a log or a report

What to trust: nothing is computed here but counts, sums of indices and text. `as_json` turns what is not finite into
null, so that a document is always strict JSON; rounding for display goes upward where the figure is a bound (`upward`).
"""
