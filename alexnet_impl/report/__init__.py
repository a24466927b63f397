"""Text, tables, figures and HTML pages of results: run/, bench/, ledger/, explain/, ...

    formatting     text of numbers and framework names
    printing       text from outside without markup and terminal escapes, in any encoding
    figure_style   the style of all matplotlib figures; PNG and inline SVG
    templates      one base page that every page extends
    run/           the page and the tables of one run or several (`alexnet compare`, `report`)
    bench/         benchmark rows, ABBA rounds, regressions, releases
    ledger/        the five reports' claims with their verdicts
    explain/       effects of framework defaults
    doctor         what is installed and works, and what to do about the rest
    parity         the checks of a parity comparison, and the lockstep figure

Nothing is imported here: tables need rich, figures matplotlib, pages Jinja, and a command imports
only what it shows.
"""
