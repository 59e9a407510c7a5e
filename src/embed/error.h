/* What stw_error() says. */
#ifndef STW_EMBED_ERROR_H
#define STW_EMBED_ERROR_H

/* Keeps the message for this thread and returns err, a negative errno value. */
int error_set(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The errno value in words. */
const char *error_words(int err);
/* One line of ours on stderr, for what no caller is there to hear of. From any thread. */
void error_say(const char *text);

#endif
