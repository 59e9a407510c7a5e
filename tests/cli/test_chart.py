"""Charts in the terminal: their exact text for known data."""
import os
import subprocess

from tap import eq, main


def shown(what):
    return subprocess.run([os.environ["CHART_SHOW"], what], stdout=subprocess.PIPE, text=True, check=True).stdout


def test_values_have_three_digits_and_a_unit():
    eq(shown("texts").splitlines(),
       ["0 B", "1000 B", "1 KiB", "1.5 KiB", "128 MiB", "1.5 GiB", "0 ns", "250 ns", "2.3 us", "1.5 ms", "2 s", "500 s",
        "0", "7", "999", "1 k", "1.25 M", "1.5×", "99.5 %"])


def test_plots():
    eq(shown("plots"), """\
  a line on a logarithmic axis
      32× ┤⠉⠒⠤⣀
          │    ⠉⠒⠤⢄⡀
      16× ┤        ⠈⠑⠢⢄⣀
          │             ⠉⠒⠤⣀
       8× ┤                 ⠉⠒⠢⢄⡀
       4× ┤                     ⠈⠑⠢⠤⣀
          │                          ⠉⠒⠤⣀
       2× ┤                              ⠉⠑⠢⢄⣀
          │                                   ⠉⠉⠉⠉⠑⠒⠒⠒⠒⠤⠤⠤⠤⣀⣀⣀⣀⡀
       1× ┤                                                    ⠈⠉⠉⠉⠉⠒⠒⠒⠒⠤⠤⠤⠤⢄⣀⣀
          └┬────────────────┬────────────────┬───────────────┬────────────────┬
           0 B           16 KiB           32 KiB          48 KiB         64 KiB
                                             ▲ half of it
                                                                    all of it ▲
  a gap
      100 ┤⠁
          │
       80 ┤
          │
       60 ┤
       40 ┤                                  ⠉⠑⠒⠤⠤⣀⡀
          │                                        ⠈⠉⠑⠒⠤⠤⣀⡀
       20 ┤                                               ⠈⠉⠑⠒⠤⠤⣀⡀
          │                                                      ⠈⠉⠑⠒⠤⠤⣀⡀
        0 ┤                                                             ⠈⠉⠑⠒⠤⠤⣀
          └┬────────────────┬────────────────┬───────────────┬────────────────┬
           0 B           16 KiB           32 KiB          48 KiB         64 KiB
   1 ms ▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▄▄▄▄▄▄▄ ▅▅▅▅▅▅▅▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇███████ 236 KiB
   2 ms ▁▁▁                                                          8 KiB
""")


main(globals())
