// Command types reads files with the types of those who will read them, and fails on what these do not have: objects of the Prometheus
// operator (.yaml), and dashboards of Grafana (.json).
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func checkObject(text []byte) error {
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

func checkDashboard(text []byte) error {
	var read dashboard.Dashboard
	// Without faults this is a list of none, and not nil.
	if err := read.UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
		return err
	}
	return read.Validate()
}

func check(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if filepath.Ext(path) == ".json" {
		return checkDashboard(text)
	}
	return checkObject(text)
}

func main() {
	plugins.RegisterDefaultPlugins()
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
	}
}
