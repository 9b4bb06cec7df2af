#!/bin/sh
# Installs what the tests talk to (dcmtk, Orthanc with DICOMweb), look with (Chromium) and validate with (PixelMed
# and a Java for it) where it is missing and apt-get can.
# Without them the tests that need them are skipped and say so.
set -eu

missing=""
command -v storescu >/dev/null 2>&1 || missing="$missing dcmtk"
PATH="$PATH:/usr/sbin" command -v Orthanc >/dev/null 2>&1 || missing="$missing orthanc"
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
[ -e /usr/share/java/pixelmed.jar ] || missing="$missing libpixelmed-java"
command -v java >/dev/null 2>&1 || missing="$missing default-jre-headless"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Not installed and no apt-get here:$missing. Tests that need them will be skipped."
    exit 0
fi
root=""
[ "$(id -u)" -eq 0 ] || root="sudo -n"
echo "Installing$missing ..."
# policy-rc.d: the packages' own services must not start, the tests start Orthanc themselves
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
$root apt-get update -qq || true
for package in $missing; do # one by one: what one distribution lacks shall not cost the others
    $root apt-get install -y -qq --no-install-recommends "$package" ||
        echo "apt-get could not install $package. Tests that need it will be skipped."
done
