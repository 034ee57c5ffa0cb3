"""What several methods share: matchings, transport plans, statistics, learning by gradients."""
