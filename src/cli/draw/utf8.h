/* Texts of others, in what we write for them. */
#ifndef STW_CLI_DRAW_UTF8_H
#define STW_CLI_DRAW_UTF8_H

/* Length of the well-formed UTF-8 sequence at s (RFC 3629), NUL-terminated; 0: there is none. */
unsigned utf8_len(const unsigned char *s);

#endif
