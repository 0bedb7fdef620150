package submission

import "bytes"

// maxTextLine is how many octets a line may have without its end (RFC 5322
// §2.1.1).
const maxTextLine = 998

// foldLong folds the lines of a header that are too long, where they have
// blanks: what is unfolded again is what it was. A word that is too long by
// itself stays so.
func foldLong(h []byte) []byte {
	out := make([]byte, 0, len(h)+len(h)/maxTextLine*2+2)
	for len(h) > 0 {
		n := bytes.IndexByte(h, '\n') + 1
		if n == 0 {
			n = len(h)
		}
		line := h[:n]
		h = h[n:]
		for len(bytes.TrimSuffix(line, crlf)) > maxTextLine {
			at := foldAt(line)
			if at < 0 {
				break
			}
			out = append(append(out, line[:at]...), crlf...)
			line = line[at:]
		}
		out = append(out, line...)
	}
	return out
}

// foldAt is where a line that is too long is folded: before the last blank that
// leaves a part that is short enough or, where there is none, before the next.
// The parts before and after have text (RFC 5322 §3.2.2). -1: nowhere.
func foldAt(line []byte) int {
	start := 0
	if n := fieldName(line); n > 0 && !isContinuation(line) {
		start = n + bytes.IndexByte(line[n:], ':') + 1
	}
	for start < len(line) && (line[start] == ' ' || line[start] == '\t') {
		start++
	}
	end := len(bytes.TrimRight(line, " \t\r\n"))
	last := -1
	for i := start + 1; i < end; i++ {
		if line[i] != ' ' && line[i] != '\t' || line[i-1] == ' ' || line[i-1] == '\t' {
			continue
		}
		if i > maxTextLine && last >= 0 {
			break
		}
		last = i
		if i > maxTextLine {
			break
		}
	}
	return last
}
