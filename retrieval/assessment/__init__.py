"""What an answer is worth: novelty check, label agreement, confounders."""
