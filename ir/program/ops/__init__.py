"""Operations of the program dialect; every module in this folder is loaded with the dialect."""
