/* A thread that others wait for. */
#ifndef STW_LIVE_URGENT_H
#define STW_LIVE_URGENT_H

/* The calling thread is to run as soon as it wakes up. */
void urgent(void);

#endif
