"""Operations of the kernel dialect; every module in this folder is loaded with the dialect."""
