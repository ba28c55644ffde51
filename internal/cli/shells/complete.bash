# Completion of @kura for bash 4.3 and later. Nothing else has to be installed.

# _kura_split splits a command line that ends at the cursor into _kura_words, as
# the shell will: without quotes and backslashes. _kura_raw is the last word as
# it was typed, and _kura_quote the quote that is open there.
_kura_split() {
	local text=$1 word='' some='' c i
	_kura_words=() _kura_raw='' _kura_quote=''
	for ((i = 0; i < ${#text}; i++)); do
		c=${text:i:1}
		if [[ -z $_kura_quote && $c == [[:space:]] ]]; then
			[[ -z $some ]] || _kura_words+=("$word")
			word='' some='' _kura_raw=''
			continue
		fi
		some=1
		_kura_raw+=$c
		case $_kura_quote$c in
		\' | \") _kura_quote=$c ;;
		\'\' | \"\") _kura_quote='' ;;
		\\ | \"\\)
			i=$((i + 1))
			word+=${text:i:1}
			_kura_raw+=${text:i:1}
			;;
		*) word+=$c ;;
		esac
	done
	_kura_words+=("$word")
}

# _kura_lines splits a text into the array values. It takes a tenth of the time of
# mapfile, which reads byte by byte. To copy the array takes as long again.
_kura_lines() {
	local IFS=$'\n' options=$-
	set -f
	values=($1)
	[[ $options == *f* ]] || set +f
}

_kura() {
	local _kura_words _kura_raw _kura_quote words raw quote
	_kura_split "${COMP_LINE:0:COMP_POINT}"
	words=("${_kura_words[@]}") raw=$_kura_raw quote=$_kura_quote

	# What stands for a command line is replaced by it.
	local alias=${BASH_ALIASES[${words[0]}]-}
	if [[ -n $alias ]]; then
		_kura_split "$alias "
		unset '_kura_words[${#_kura_words[@]}-1]'
		words=("${_kura_words[@]}" "${words[@]:1}")
	fi

	# After exec's -- comes a command line of its own.
	local i last=$((${#words[@]} - 1)) cur
	cur=${words[last]}
	for ((i = 1; i < last; i++)); do
		[[ ${words[i]} == -- ]] || continue
		if [[ -z $alias ]] && declare -F _command_offset >/dev/null; then
			_command_offset $((i + 1))
		elif ((i + 1 == last)); then
			COMPREPLY=($(compgen -c -- "$cur"))
		else
			compopt -o bashdefault -o default
		fi
		return
	done

	local program=${words[0]} out values directive
	type -P -- "$program" >/dev/null || program=@kura
	out=$(command "$program" __complete "${words[@]:1}" 2>/dev/null) || return
	directive=${out##*:}
	_kura_lines "${out%:*}"
	if ((${#values[@]} == 0)); then
		((directive & 4)) || compopt -o bashdefault -o default
		return
	fi
	if [[ $out == *$'\t'* ]]; then
		values=("${values[@]%%$'\t'*}")
	fi

	# Of a word that has one of COMP_WORDBREAKS in it, as "team:dev", the shell
	# replaces the end alone, which is $2.
	local kept=
	if [[ $raw == *"$2" ]]; then
		_kura_split "${raw%"$2"}"
		kept=${_kura_words[0]}
	fi
	if [[ $cur == -*=* ]]; then
		values=("${values[@]/#/${cur%%=*}=}")
	fi
	if [[ -n $kept ]]; then
		values=("${values[@]#"$kept"}")
	fi
	case $quote in
	\') COMPREPLY=("${values[@]//\'/\'\\\'\'}") ;;
	\")
		values=("${values[@]//\\/\\\\}")
		values=("${values[@]//\"/\\\"}")
		values=("${values[@]//\$/\\\$}")
		COMPREPLY=("${values[@]//\`/\\\`}")
		;;
	*)
		printf -v out '%q\n' "${values[@]}"
		_kura_lines "$out"
		COMPREPLY=("${values[@]}")
		;;
	esac
	((!(directive & 2))) || compopt -o nospace
}

# Aliases that begin with the program are completed as it is, and so is the other
# of its names where that is a link to it.
_kura_names() {
	local name names=(@kura) other=aws-vault
	[[ @kura != aws-vault ]] || other=kura
	[[ ! $(type -P @kura) -ef $(type -P $other) ]] || names+=($other)
	for name in "${!BASH_ALIASES[@]}"; do
		case "${BASH_ALIASES[$name]} " in
		'kura '* | 'aws-vault '*) names+=("$name") ;;
		esac
	done
	complete -F _kura "${names[@]}"
}
_kura_names
unset -f _kura_names
