# An index of words: hashes of arrays, strings that grow, a substitution, a split.
use strict;
use warnings;

my $state = 1;

sub random {
    $state = ($state * 1103515245 + 12345) % 2147483648;
    return int($state / 65536) % $_[0];
}

for (1 .. 2) {
    my %index;
    push @{ $index{ 'w' . random(30000) . 'x' x random(60) } }, $_ for 1 .. 150000;
    my @words = sort keys %index;
    my $text = join ' ', @words;
    $text =~ s/x+/y/g;
    my @parts = split / /, $text;
    print scalar(@words), ' ', length($text), ' ', scalar(@parts), "\n";
}
