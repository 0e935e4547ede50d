"""The page to play with: recorded runs and their traced programs as one HTML file that opens from disk.

    program    a recorded run and its program, as the page has them
    surface    what the page knows of the surface: its field as a program, its critical points with their types
    build      one file of all of it
    lesson     a page with a text and a challenge, from a file in lessons/
    engine.js  runs programs; page.js, page.css: shows them

The page runs the tool's own programs (`descend.javascript`): there is no second implementation of an optimizer or of a
surface. It says so itself: it repeats each recorded run as it opens and compares the bits.
"""
