/*
 * stl: a C++ program's load: an index of words in a map of strings to vectors, a list used as a queue, an
 * unordered set that grows, all built and torn down again. Goes through operator new and the delete that knows
 * the size.
 */
#include <cstdio>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "bench.h"

static size_t rounds = 2, words = 300000, distinct = 40000;

static std::string word_of(uint64_t n)
{
	/* Some fit into the string object itself, others need the heap. */
	return "word-" + std::to_string(n * 2654435761u % 1000003) + std::string(n % 40, 'x');
}

static bool round_is_right()
{
	std::map<std::string, std::vector<size_t>> index;
	std::unordered_set<std::string> seen;
	std::list<std::string> recent;
	std::deque<std::vector<char>> buffers;
	uint64_t state = 1;
	size_t found = 0;

	for (size_t i = 0; i < words; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		std::string word = word_of((state >> 33) % distinct);

		index[word].push_back(i);
		seen.insert(word);
		recent.push_back(word);
		buffers.emplace_back(64 + i % 1000, static_cast<char>(i));
		if (recent.size() > 1000) {
			recent.pop_front();
			buffers.pop_front();
		}
	}
	for (const auto &entry : index)
		found += entry.second.size();
	return found == words && seen.size() == index.size() && buffers.back().back() == static_cast<char>(words - 1);
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = { { "rounds", &rounds }, { "words", &words }, { "distinct", &distinct },
		{ nullptr, nullptr } };

	bench_options(argc, argv, options);
	for (size_t i = 0; i < rounds; i++) {
		if (!round_is_right()) {
			std::fprintf(stderr, "stl: a container does not hold what was put into it\n");
			return 1;
		}
	}
	bench_report("rounds=%zu words=%zu", rounds, words);
	return 0;
}
