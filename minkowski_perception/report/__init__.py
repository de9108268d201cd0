# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A report of labelled clouds: one HTML file that opens without a network.

`collector` takes the clouds as they are labelled and keeps some of them in bounded memory; `page`
writes them, with tables, into one file. `page.html`, `page.css` and the scripts are what it shows.
"""
