package compose

import (
	"maps"
	"mime"
	"path"
	"slices"
	"strings"

	"postern/config/wire"
)

const (
	octets      = "application/octet-stream"
	rfc822      = "message/rfc822"
	gzipType    = "application/gzip"
	calendarExt = "application/ics"
)

// types is the media type of what people attach, by the end of the name. It is
// ours, so that a message is the same on each machine.
var types = map[string]string{
	".7z": "application/x-7z-compressed", ".aac": "audio/aac", ".avi": "video/x-msvideo", ".avif": "image/avif",
	".bmp": "image/bmp", ".bz2": "application/x-bzip2", ".css": "text/css", ".csv": "text/csv",
	".doc": "application/msword", ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".eml": rfc822, ".epub": "application/epub+zip", ".gif": "image/gif", ".gz": gzipType, ".heic": "image/heic",
	".htm": "text/html", ".html": "text/html", ".ico": "image/vnd.microsoft.icon", ".ics": "text/calendar",
	".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".js": "text/javascript", ".json": "application/json",
	".key": "application/vnd.apple.keynote", ".ldif": "text/plain", ".log": "text/plain", ".m4a": "audio/mp4",
	".md": "text/markdown", ".mov": "video/quicktime", ".mp3": "audio/mpeg", ".mp4": "video/mp4",
	".mpeg": "video/mpeg", ".msg": "application/vnd.ms-outlook", ".ndjson": "application/x-ndjson",
	".numbers": "application/vnd.apple.numbers", ".odp": "application/vnd.oasis.opendocument.presentation",
	".ods": "application/vnd.oasis.opendocument.spreadsheet", ".odt": "application/vnd.oasis.opendocument.text",
	".ogg": "audio/ogg", ".p7m": "application/pkcs7-mime", ".p7s": "application/pkcs7-signature",
	".pages": "application/vnd.apple.pages", ".pdf": "application/pdf", ".png": "image/png",
	".ppt": "application/vnd.ms-powerpoint", ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".ps": "application/postscript", ".rtf": "application/rtf", ".svg": "image/svg+xml", ".tar": "application/x-tar",
	".tgz": gzipType, ".tif": "image/tiff", ".tiff": "image/tiff", ".toml": "application/toml",
	".tsv": "text/tab-separated-values", ".txt": "text/plain", ".vcf": "text/vcard", ".wav": "audio/x-wav",
	".webm": "video/webm", ".webp": "image/webp", ".xls": "application/vnd.ms-excel",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xml": "application/xml",
	".xz": "application/x-xz", ".yaml": "application/yaml", ".yml": "application/yaml", ".zip": "application/zip",
	".zst": "application/zstd",
}

func typeByName(name string) string {
	ext := path.Ext(name)
	if t := types[ext]; t != "" {
		return t
	}
	if t := types[strings.ToLower(ext)]; t != "" {
		return t
	}
	return octets
}

// mediaType is t as it is written, without a name, which the name of the part
// stands for. fault is why it can't be.
func mediaType(t string) (clean, fault string) {
	kind, params := t, map[string]string(nil)
	if strings.IndexByte(t, ';') >= 0 {
		var err error
		if kind, params, err = mime.ParseMediaType(t); err != nil {
			return "", "is not a media type: " + show(t)
		}
		delete(params, "name")
	}
	main, sub, ok := strings.Cut(kind, "/")
	if !ok || !isTypeName(main) || !isTypeName(sub) {
		return "", "is not a media type: " + show(t)
	}
	switch {
	case strings.EqualFold(main, "multipart"), strings.EqualFold(main, "message") && !strings.EqualFold(kind, rfc822):
		return "", "can't be a part of a message by itself: " + show(t)
	case len(params) == 0:
		return kind, ""
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		value := params[name]
		if !wire.Printable(value) || len(value) > maxLine/2 || len(name) > maxLine/4 {
			return "", "has a parameter that can't be written: " + show(t)
		}
		kind += "; " + name + "="
		if isTypeName(value) {
			kind += value
		} else {
			kind += `"` + quotedPairs.Replace(value) + `"`
		}
	}
	return kind, ""
}

// isTypeName checks restricted-name of RFC 6838 §4.2, in the length that a line
// has room for.
func isTypeName(s string) bool {
	return s != "" && len(s) <= 127 && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$&-^_.+", r))
	})
}
