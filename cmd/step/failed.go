package step

import (
	"encoding/csv"
	"encoding/json"
	"path/filepath"
	"strings"

	"postern/relay/merge"
)

// errorColumn says in the file of failed rows why each failed.
const errorColumn = "error"

// Failed collects the rows that were not sent, to be fed in again.
type Failed struct {
	columns []string
	file    *replacement
	csv     *csv.Writer   // nil: JSON
	json    *json.Encoder // an object a line
	Rows    int
}

// NewFailed begins a file, which replaces path at Close: CSV, or an object a
// line where the name ends in .ndjson, .jsonl or .json.
func NewFailed(path string, columns []string) (*Failed, error) {
	f := &Failed{}
	for _, c := range columns {
		if c != errorColumn {
			f.columns = append(f.columns, c)
		}
	}
	var err error
	if f.file, err = newReplacement(path); err != nil {
		return nil, err
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".ndjson", ".jsonl", ".json":
		f.json = json.NewEncoder(f.file)
		f.json.SetEscapeHTML(false)
		return f, nil
	}
	f.csv = csv.NewWriter(f.file)
	return f, f.csv.Write(append(append([]string{}, f.columns...), errorColumn))
}

// Add takes the rows of a message that was not sent.
func (f *Failed) Add(rows []merge.Row, why string) error {
	for _, row := range rows {
		f.Rows++
		if f.json != nil {
			one := map[string]any{}
			for _, c := range f.columns {
				one[c] = row[c]
			}
			one[errorColumn] = why
			if err := f.json.Encode(one); err != nil {
				return err
			}
			continue
		}
		record := make([]string, 0, len(f.columns)+1)
		for _, c := range f.columns {
			record = append(record, merge.Cell(row[c]))
		}
		if err := f.csv.Write(append(record, why)); err != nil {
			return err
		}
	}
	return nil
}

// Close puts the file into its place.
func (f *Failed) Close() error {
	var err error
	if f.csv != nil {
		f.csv.Flush()
		err = f.csv.Error()
	}
	return f.file.end(err)
}
