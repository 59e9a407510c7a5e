/* Charts in a terminal of 80 columns, in characters alone: lines of Braille dots, 2 by 4 in a cell. */
#ifndef STW_CLI_DRAW_PLOT_H
#define STW_CLI_DRAW_PLOT_H

#include "cli/draw/chart.h"

/* To stdout. All series have the same dots: give it what can be told apart, or one. */
void plot_print(const struct chart *c);

/*
 * One line to stdout: the label, n ≤ PLOT_CELLS values as bars of one cell each (▁ to █, of the most there may be), and
 * the largest value. NAN: nothing is drawn.
 */
#define PLOT_CELLS 60
void plot_bars(const char *label, const double *value, unsigned n, double most, enum chart_unit unit);

#endif
