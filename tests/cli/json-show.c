/* Writes each argument as a JSON string, and one of each other thing, through the writer under test. */
#include <unistd.h>

#include "cli/json.h"

int main(int argc, char **argv)
{
	static struct json j;

	json_init(&j, STDOUT_FILENO);
	json_object(&j, NULL);
	json_array(&j, "args");
	for (int i = 1; i < argc; i++)
		json_string(&j, NULL, argv[i]);
	json_array_end(&j);
	json_object(&j, "empty");
	json_object_end(&j);
	json_array(&j, "none");
	json_array_end(&j);
	json_u64(&j, "max", UINT64_MAX);
	json_fixed(&j, "fixed", 5, 2);
	json_bool(&j, "yes", true);
	json_null(&j, "null");
	json_object_end(&j);
	return json_finish(&j) != 0;
}
