"""What users type, made into boxes, points, parameters and surfaces; or a sentence that says what was wrong.

A surface reaches `classify-critical` in three ways. By a name of the catalogue, which `config` knows. As a formula,
`--expr "x**4 - 3*x*y + y**2"`: read by a grammar of our own and never evaluated as Python, so that a formula cannot do
anything but compute. And as `--fn path/to/file.py:function`: the user's own code, which is run, because that is what
was asked for; it is tried on a few points before it is studied.

In reading order:

    parse       --box, --at, --sweep and file.py:name: numbers checked to be finite, in order, and as many as axes
    function    a function from a file: loaded, tried, and refused in words
    expression  the grammar of formulas, and a formula as a batched surface

What to trust: every refusal is a UserError of one to three lines, raised before torch is imported where the text alone
decides (`parse`, and a formula's grammar). Equal subexpressions of a formula are one value, so that intervals see (x -
1)*(x - 1) as a square.
"""
