// Renders a Go template with the variables that Ollama gives it. Reads {template, messages} as JSON, writes the text.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type job struct {
	Template string    `json:"template"`
	Messages []message `json:"messages"`
}

func main() {
	var jobs []job
	if err := json.NewDecoder(os.Stdin).Decode(&jobs); err != nil {
		fail(err)
	}
	var texts []string
	for _, it := range jobs {
		texts = append(texts, render(it))
	}
	if err := json.NewEncoder(os.Stdout).Encode(texts); err != nil {
		fail(err)
	}
}

func render(it job) string {
	parsed, err := template.New("").Option("missingkey=zero").Parse(it.Template)
	if err != nil {
		fail(err)
	}
	var system []string
	for _, message := range it.Messages {
		if message.Role == "system" {
			system = append(system, message.Content)
		}
	}
	var text strings.Builder
	err = parsed.Execute(&text, map[string]any{
		"System":   strings.Join(system, "\n\n"),
		"Messages": it.Messages,
		"Response": "",
	})
	if err != nil {
		fail(err)
	}
	return text.String()
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
