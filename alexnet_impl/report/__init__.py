"""Run folders in, text and pictures out: tables for a terminal, figures, and one HTML page.

    tables   rich tables of variants, layers, recipes, a comparison, an evaluation
    plots    matplotlib figures of one or more runs
    page     write_report(): a self-contained HTML file

Nothing is imported here: `tables` needs rich, `plots` and `page` need matplotlib and Jinja, and a
command pays only for what it shows.
"""
