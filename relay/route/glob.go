package route

import "strings"

// glob matches the value of a header field: "*" stands for any run of
// characters, also none; everything else for itself, ASCII letters without
// regard to capitals, spaces at either end ignored. Its time is bounded by
// the product of the two lengths.
func glob(pattern, value string) bool {
	value = strings.Trim(value, " \t\r\n")
	p, v := 0, 0
	star, mark := -1, 0 // the last * seen, and where its run ends for now
	for v < len(value) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, v
			p++
		case p < len(pattern) && lower(pattern[p]) == lower(value[v]):
			p++
			v++
		case star >= 0:
			mark++
			p, v = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
