"""Operations of the graph dialect; every module in this folder is loaded with the dialect."""
