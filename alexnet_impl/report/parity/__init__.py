"""The record of a parity comparison as terminal lines, a figure and a page."""
