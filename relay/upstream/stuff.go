package upstream

import "bytes"

// stuffer makes content fit for DATA (RFC 5321 §4.5.2): a dot at the begin of
// a line is doubled. It works on blocks and remembers what it must across
// their borders. The zero value stands at the begin of the content.
type stuffer struct {
	inLine bool // the last byte was not the end of a line
	cr     bool // the last byte was a CR
	bare   bool // a CR or LF without the other was seen
}

// append adds block to out. It stops, and returns false, at a bare CR or LF.
func (s *stuffer) append(out, block []byte) ([]byte, bool) {
	for len(block) > 0 {
		if !s.inLine && block[0] == '.' {
			out = append(out, '.')
		}
		end := bytes.IndexByte(block, '\n')
		line := block[:end+1]
		if end < 0 {
			line = block
		}
		if !s.check(line) {
			return out, false
		}
		out = append(out, line...)
		block = block[len(line):]
	}
	return out, true
}

// check follows the line ends: CR and LF only together.
func (s *stuffer) check(line []byte) bool {
	last := line[len(line)-1]
	if cr := bytes.IndexByte(line, '\r'); cr >= 0 {
		// The first CR has to be the one before the final LF, or the end.
		s.bare = s.cr || cr < len(line)-2 || cr == len(line)-2 && last != '\n'
	} else {
		s.bare = last == '\n' && !(s.cr && len(line) == 1) || s.cr && last != '\n' || s.cr && len(line) > 1
	}
	s.inLine, s.cr = last != '\n', last == '\r'
	return !s.bare
}

// end adds the line end that the content may lack, for the final dot to stand
// on a line of its own.
func (s *stuffer) end(out []byte) ([]byte, bool) {
	if s.cr {
		s.bare = true
		return out, false
	}
	if s.inLine {
		out = append(out, "\r\n"...)
	}
	return out, true
}
