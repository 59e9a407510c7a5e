#include "cli/explain/picture.h"

#include <stdio.h>
#include <string.h>

#define BOX_COLUMNS 26
#define LINE_COLUMNS 78

/* Columns of a text in UTF-8, of which each character takes one. */
static int columns(const char *text)
{
	int n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* Bytes of the first n columns. */
static int cut(const char *text, int n)
{
	int i = 0;

	while (text[i] != '\0' && (n > 0 || ((unsigned char)text[i] & 0xc0) == 0x80)) {
		n -= ((unsigned char)text[i] & 0xc0) != 0x80;
		i++;
	}
	return i;
}

static void print_note(const char *note)
{
	if (note != NULL && note[0] != '\0')
		printf(" %s", note);
	putchar('\n');
}

void picture_edge(enum picture_edge where, uint64_t address, const char *note)
{
	static const char *const ends[][2] = { { "┬", "┐" }, { "├", "┤" }, { "┴", "┘" } };

	printf("%14llx %s", (unsigned long long)address, ends[where][0]);
	for (int i = 0; i < BOX_COLUMNS; i++)
		fputs("─", stdout);
	fputs(ends[where][1], stdout);
	print_note(note);
}

static void line(const char *side, const char *text, const char *note)
{
	int width = columns(text);

	if (width > BOX_COLUMNS - 2)
		width = BOX_COLUMNS - 2;
	printf("%14s %s %.*s%*s %s", "", side, cut(text, width), text, BOX_COLUMNS - 2 - width, "", side);
	print_note(note);
}

void picture_box(uint64_t bytes, const char *text, const char *note)
{
	line("│", text, note);
	/* From 16 MiB on, one more for each factor of 64. */
	for (uint64_t from = 16 * MIB; from <= 16 * MIB << 12 && bytes >= from; from <<= 6)
		line("│", "", NULL);
}

void picture_gap(const char *text, const char *note)
{
	line("┊", text, note);
}

/* Columns of the word that text begins with; each character of UTF-8 takes one. *bytes: how long it is. */
static int word_columns(const char *text, int *bytes)
{
	int columns = 0;

	for (*bytes = 0; text[*bytes] != '\0' && text[*bytes] != ' '; ++*bytes)
		columns += ((unsigned char)text[*bytes] & 0xc0) != 0x80;
	return columns;
}

void picture_wrap(int indent, const char *text)
{
	int at = 0;

	while (*text != '\0') {
		int bytes, columns = word_columns(text, &bytes);

		if (at == 0 || at + 1 + columns > LINE_COLUMNS) {
			printf("%s%*s", at == 0 ? "" : "\n", indent, "");
			at = indent;
		} else {
			putchar(' ');
			at++;
		}
		printf("%.*s", bytes, text);
		at += columns;
		text += bytes + (text[bytes] == ' ');
	}
	putchar('\n');
}
