"""The page of a sample, section by section: one module each for what it holds.

scene           what a report is about, and how its parts are read
cells           sums and medians over the table of cells
views           pictures, with the outlines of cells
headline        numbers to read first, and hints
truth           what became of the true cells, if they are known
distributions   histograms over the cells
seam_check      whether cells end where tiles meet
history         how long it took, and which jobs were tried again
page            all of it, laid out by page.html.j2
"""
