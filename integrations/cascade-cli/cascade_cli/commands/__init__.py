"""The commands of `cascade`, by what they are about; each loads what it needs when it runs."""
