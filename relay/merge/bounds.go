package merge

// What rows may take. These are variables for the sake of tests alone, which lower
// them so that what is too large need not be large.
var (
	// maxRows bounds all rows as they are read, in bytes: they lie in a file until
	// the command ends.
	maxRows int64 = 4 << 30
	// maxRow bounds one row, in bytes: a quote that is never closed must not take
	// the memory.
	maxRow = 16 << 20
	// maxSigns bounds the signs between the cells of one row.
	maxSigns = 1 << 20
	// maxValues is how many values a list or a table of JSON may hold, with all that
	// is within: each takes some 50 bytes of memory, and as few as 2 of text.
	maxValues = 1 << 17
	// maxXLSXRow bounds the rows of a sheet (ECMA-376, and Excel).
	maxXLSXRow = 1 << 20
	// maxTexts bounds the texts that cells of a sheet share, in bytes. They are held
	// in memory.
	maxTexts = 64 << 20
	// maxParts bounds each of the small files of an XLSX file, in bytes.
	maxParts int64 = 16 << 20
)
