package faulttest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Overlay writes what makes the module at root a program with all mutants into the
// directory to, and returns the file that "go build -overlay" reads. It fails if a place
// that a mutant changes is not there, or is there twice: the mutants follow the source.
func Overlay(root, to string) (string, error) {
	texts := map[string]string{MutantFile: MutantSource}
	for _, m := range Mutants {
		for _, c := range m.Make {
			if err := c.apply(root, texts); err != nil {
				return "", fmt.Errorf("mutant %s: %s: %w", m.Name, c.File, err)
			}
		}
	}
	replace := map[string]string{}
	for file, text := range texts {
		if strings.Contains(text, "mutant.On") {
			text = importing(text)
		}
		path := filepath.Join(to, strings.ReplaceAll(file, "/", "__"))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = path
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(to, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// apply makes the change in the text of its file, which is read when it is first
// changed.
func (c Change) apply(root string, texts map[string]string) error {
	if c.Old == "" {
		texts[c.File] = c.New
		return nil
	}
	text, read := texts[c.File]
	if !read {
		b, err := os.ReadFile(filepath.Join(root, c.File))
		if err != nil {
			return err
		}
		text = string(b)
	}
	if n := strings.Count(text, c.Old); n != 1 {
		return fmt.Errorf("%d places with %q, want one", n, c.Old)
	}
	texts[c.File] = strings.Replace(text, c.Old, c.New, 1)
	return nil
}

// importing adds the import of the mutants' package to a file, if it is not there.
func importing(text string) string {
	path := `"` + MutantPackage + `"`
	if strings.Contains(text, path) {
		return text
	}
	end := strings.Index(text, "\n\n") // of the package clause and what stands above it
	if at := strings.Index(text, "\npackage "); at >= 0 {
		end = at + 1 + strings.Index(text[at+1:], "\n")
	} else if strings.HasPrefix(text, "package ") {
		end = strings.Index(text, "\n")
	}
	return text[:end] + "\n\nimport " + path + text[end:]
}
