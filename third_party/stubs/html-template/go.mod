module html/template

go 1.26.0
