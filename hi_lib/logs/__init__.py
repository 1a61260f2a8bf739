"""What users bring: tables in any format, with columns of any name, times and sizes measured elsewhere."""
