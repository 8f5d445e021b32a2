# Completion for bash: what can be typed is asked of the programs themselves, so that it is what they have.
#
# Installed as share/bash-completion/completions/{rhea-system-x86_64,rhea-img,rhea-nbd}.

# The names that "PROGRAM OPTION help" lists.
_rhea_names() {
    local program=$1 option=$2
    case $option in
        -device) "$program" -device help 2>/dev/null | sed -n 's/^name "\([^"]*\)".*/\1/p' ;;
        -cpu) "$program" -cpu help 2>/dev/null | awk '$1 == "x86" { print $2 }' ;;
        *) "$program" "$option" help 2>/dev/null | awk 'NR > 1 && NF { print $1 }' ;;
    esac
}

_rhea_system() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case ${before/#--/-} in
        -M | -machine) mapfile -t COMPREPLY < <(compgen -W "$(_rhea_names "$program" -machine)" -- "$word") ;;
        -cpu | -device | -accel) mapfile -t COMPREPLY < <(compgen -W "$(_rhea_names "$program" "${before/#--/-}")" -- "$word") ;;
        -kernel | -initrd | -bios | -hda | -hdb | -hdc | -hdd | -cdrom | -pidfile | -D | -L)
            mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        *)
            if [[ $word == -* ]]; then
                mapfile -t COMPREPLY < <(compgen -W "$("$program" -help 2>/dev/null | awk '/^-/ { print $1 }')" -- "$word")
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
            fi
            ;;
    esac
}

_rhea_img() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null | awk '/^  [a-z]/ { print $1 }') --help --version" -- "$word")
        return
    fi
    case $before in
        -f | -O | -F)
            mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null | sed -n 's/^Supported formats: //p')" -- "$word") ;;
        -t | -T) mapfile -t COMPREPLY < <(compgen -W "none writeback writethrough directsync unsafe" -- "$word") ;;
        -r) mapfile -t COMPREPLY < <(compgen -W "leaks all" -- "$word") ;;
        *)
            if [[ $word == -* ]]; then
                mapfile -t COMPREPLY < <(compgen -W "$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null |
                    grep -oE '(^  |, )--?[a-zA-Z-]+' | tr -d ' ,')" -- "$word")
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
            fi
            ;;
    esac
}

_rhea_nbd() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null | grep -oE -- '--[a-z-]+' | sort -u)" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -o filenames -F _rhea_system rhea-system-x86_64
complete -o filenames -F _rhea_img rhea-img
complete -o filenames -F _rhea_nbd rhea-nbd
