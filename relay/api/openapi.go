package api

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openAPI []byte

// describe is GET /openapi.json.
func (r *request) describe(w http.ResponseWriter) *failure {
	w.Header().Set("Content-Type", mediaJSON)
	_, _ = w.Write(openAPI)
	return nil
}
