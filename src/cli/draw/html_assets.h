/* What report/ is made of, as texts: see report/meson.build. */
#ifndef STW_CLI_DRAW_HTML_ASSETS_H
#define STW_CLI_DRAW_HTML_ASSETS_H

extern const char html_style[];
extern const char html_script[];

#endif
