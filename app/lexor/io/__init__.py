"""Files: challenge cases read with care, answers written whole or not at all."""
