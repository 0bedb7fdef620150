// Manifests decodes Kubernetes manifests as strictly as an API server does: an
// unknown field, one that is there twice, or one of another type is an error. It
// is a module of its own, so that Postern does not depend on Kubernetes.
//
//	go run . ../kubernetes.yaml
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

// kinds makes an empty object of each kind that is known here.
var kinds = map[metav1.TypeMeta]func() any{
	{APIVersion: "v1", Kind: "ConfigMap"}:                  func() any { return &corev1.ConfigMap{} },
	{APIVersion: "v1", Kind: "Pod"}:                        func() any { return &corev1.Pod{} },
	{APIVersion: "v1", Kind: "Service"}:                    func() any { return &corev1.Service{} },
	{APIVersion: "apps/v1", Kind: "StatefulSet"}:           func() any { return &appsv1.StatefulSet{} },
	{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}: func() any { return &policyv1.PodDisruptionBudget{} },
}

func main() {
	for _, file := range os.Args[1:] {
		if err := decode(file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
	}
}

func decode(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		part, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var kind metav1.TypeMeta
		if err := strict.Unmarshal(part, &kind); err != nil {
			return err
		}
		if kind == (metav1.TypeMeta{}) && len(bytes.TrimSpace(part)) == 0 {
			continue
		}
		if kinds[kind] == nil {
			return fmt.Errorf("%s %s is not known here", kind.APIVersion, kind.Kind)
		}
		if err := strict.UnmarshalStrict(part, kinds[kind]()); err != nil {
			return fmt.Errorf("%s: %w", kind.Kind, err)
		}
		fmt.Println(file, kind.Kind, "ok")
	}
}
