/* What the steward command says on stderr: one line a message, "steward: WHAT: WHY; WHAT TO DO". */
#ifndef STW_CLI_MSG_H
#define STW_CLI_MSG_H

#define EXIT_USAGE 2       /* wrong usage */
#define EXIT_STEWARD 125   /* Steward itself could not; 125 to 127 as env(1) has them */
#define EXIT_NOT_EXEC 126  /* the command is there and cannot be executed */
#define EXIT_NOT_FOUND 127 /* there is no such command */

/*
 * Prints "steward: WHAT: WHY" and returns status, so that a caller can write
 * `return msg_fail(...)`. Control characters come out as '?': a name that
 * somebody else chose cannot make a second line.
 */
int msg_fail(int status, const char *what, const char *why, ...) __attribute__((format(printf, 3, 4)));

/* Prints "steward: TEXT". */
void msg_note(const char *text, ...) __attribute__((format(printf, 1, 2)));

/* Somebody else chose a name in the text: what is no more than a name reaches the terminal, no control characters. */
void msg_clean(char *text);
/* Writes all of text[0..len) to fd; 0 or -errno. */
int write_all(int fd, const char *text, unsigned long len);

#endif
