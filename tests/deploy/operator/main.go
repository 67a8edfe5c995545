// Command operator reads objects of the Prometheus operator with its own types, and fails on a field that they do not have.
package main

import (
	"fmt"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func check(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var object struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(text, &object); err != nil {
		return err
	}
	if object.APIVersion != monitoring.SchemeGroupVersion.String() {
		return fmt.Errorf("unknown version %s", object.APIVersion)
	}
	switch object.Kind {
	case monitoring.ServiceMonitorsKind:
		return yaml.UnmarshalStrict(text, &monitoring.ServiceMonitor{})
	case monitoring.PrometheusRuleKind:
		return yaml.UnmarshalStrict(text, &monitoring.PrometheusRule{})
	}
	return fmt.Errorf("unknown kind %s", object.Kind)
}

func main() {
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
	}
}
