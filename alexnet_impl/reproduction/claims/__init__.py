"""Every figure of the five reports, report by report, with the line that it stands in."""
